"""As filas: quem espera, quem conversa com quem, e o que contar a cada um. Só memória.

É a metade do servidor que decide; a outra, a rede, está em `conexao.py`. Um **fato** (alguém entrou, falou, saiu) é
uma seção crítica: muda as listas e os estados, e diz a quem há o que contar. O que ele conta se envia de **mãos
dadas**: toma-se a vez de quem vai receber ainda com a trava na mão, solta-se a trava, envia-se, solta-se a vez. Por
isso cada um lê os fatos na ordem em que aconteceram, e ninguém espera por um participante com a trava na mão.

A ordem é uma só: a trava, depois as vezes. Quem tem uma vez nunca pede a trava.
"""

import contextlib
import enum
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from atendimento.turno import Turno
from protocolo import (
    MAXIMO_DA_LINHA,
    Aviso,
    Comando,
    Conectado,
    Consulta,
    Fila,
    Fim,
    Mensagem,
    Pausa,
    Pedido,
    Pergunta,
    Pronto,
    Tipo,
    Transferencia,
    Volta,
    escolher_departamentos,
)

log = logging.getLogger("fila")

LOTADO = Fim("Servidor lotado; tente mais tarde.")
ENCERRADO = Fim("Servidor encerrado.")
LONGA_DEMAIS = Aviso(f"Mensagem longa demais (máximo de {MAXIMO_DA_LINHA} bytes); não foi enviada.")
NA_ESPERA = Aviso("Você ainda está na fila; sua mensagem será entregue ao atendente.")
NAO_GUARDADA = Aviso("Limite de mensagens na espera atingido; a mensagem não foi guardada.")
SEM_CLIENTE = Aviso("Nenhum cliente conectado; a mensagem não foi enviada.")
REGISTRADA = Aviso("Esta conversa está sendo registrada.")

SEM_DEPARTAMENTO = ""
"""O departamento de todos, num servidor que não os tem."""

FIM_DE_FLUXO = None
"""No lugar de um comando: depois dele não há mais o que contar."""


class Participante:
    """Quem está conectado, como as filas o veem: quem é, e como contar-lhe um fato."""

    def __init__(self) -> None:
        # Guardados pela trava das filas:
        self.nome = ""
        self.tipo = Tipo.CLIENTE
        self.departamentos: tuple[str, ...] = (SEM_DEPARTAMENTO,)  # o cliente tem um só
        # A vez guarda o que se conta a este participante, e em que ordem.
        self.vez = threading.Lock()

    def __str__(self) -> str:
        return f"{self.nome} ({self.tipo.value})"

    def por_na_caixa(self, comandos: Sequence[Comando | None]) -> None:
        """Guarda os comandos para este participante, nesta ordem. Exige a vez."""
        raise NotImplementedError

    def entregar(self, comandos: Sequence[Comando | None]) -> None:
        """Como `por_na_caixa`, e envia o que puder sem esperar por ele. Exige a vez."""
        raise NotImplementedError


class Fase(enum.Enum):
    """Onde está quem se conectou. Sair de qualquer uma delas é sair de `user_states`."""

    IDENTIFICACAO = enum.auto()
    FILA = enum.auto()
    CONVERSA = enum.auto()
    ULTIMA_CONVERSA = enum.auto()  # o atendente, que depois dela entra em pausa
    PAUSA = enum.auto()
    INTERVALO = enum.auto()  # a conversa acabou, e o atendente que diz PRONTO ainda não o disse
    INTERVALO_EM_PAUSA = enum.auto()  # o mesmo, e pediu pausa


@dataclass(slots=True)
class Conversa:
    """Um atendimento, do `CONECTADO:` ao fim."""

    numero: int  # 1, 2, 3...
    cliente: str  # nomes
    atendente: str
    departamento: str
    inicio: float  # segundos, pelo relógio das filas


class Ouvinte(Protocol):
    """Quem acompanha as conversas sem participar delas: o registro."""

    def ouvir(self, conversa: Conversa, evento: str, de: str, para: str, textos: Sequence[str]) -> None:
        """Houve algo na conversa: "inicio", "mensagem" ou "fim". Só pode mexer em memória. Exige a trava das filas.

        `de` e `para` são nomes, vazios se foi o servidor; `textos` são as mensagens ou, no fim, o motivo.
        """


@dataclass(slots=True)
class Estado:
    """O que `user_states` guarda de cada participante."""

    fase: Fase = Fase.IDENTIFICACAO
    par: Participante | None = None  # com quem conversa
    conversa: Conversa | None = None  # a mesma para os dois
    guardadas: list[bytes] = field(default_factory=list)  # em UTF-8: mensagens de quem ainda espera
    posicao: int = 0  # a última que o cliente soube
    diz_pronto: bool = False  # o atendente já o disse: entre duas conversas, espera-se que o diga de novo
    na_frente: bool = False  # o cliente foi transferido, ou devolvido: está à frente dos que só esperam
    transferido_por: Participante | None = None  # a quem o cliente não volta, se houver outro online
    desde: float = 0.0  # quando começou a esperar, pelo relógio das filas


class Filas:
    """Quem espera e quem conversa com quem. Cada método público é um fato, e toma a trava uma vez.

    `devolver` diz que o cliente de um atendente que cai volta para a fila; `ouvinte` acompanha as conversas;
    `relogio` conta segundos.
    """

    MAXIMO_GUARDADO = 20
    """Mensagens que um cliente pode deixar prontas enquanto espera."""

    NOMES_NA_CONSULTA = 10
    """Clientes que a resposta a um atendente nomeia."""

    def __init__(
        self,
        departamentos: Sequence[str] = (),
        *,
        devolver: bool = False,
        ouvinte: Ouvinte | None = None,
        relogio: Callable[[], float] = time.monotonic,
        trava: "threading.Lock | None" = None,
    ) -> None:
        self.departamentos = tuple(departamentos)
        self.devolver = devolver
        self.ouvinte = ouvinte
        self.relogio = relogio
        # A trava (a `global_lock` do relatório) guarda tudo o que vem abaixo e, de cada participante, quem ele é.
        # Com ela na mão só se mexe em memória e se tomam vezes.
        self.trava = trava or threading.Lock()
        self.fila_clientes: list[Participante] = []  # de todos os departamentos, por ordem de espera
        self.fila_atendentes: list[Participante] = []
        self.user_states: dict[Participante, Estado] = {}  # todos os conectados, em qualquer fase
        self.online: set[Participante] = set()  # os atendentes que não estão em pausa
        self.turno = Turno(self.departamentos or (SEM_DEPARTAMENTO,))
        self.conversas = 0  # quantas já começaram
        self.posicoes_mudaram = False  # há clientes que ainda não sabem a sua nova posição
        self.encerrada = False

    # Os fatos.

    def admitir(self, quem: Participante) -> None:
        """Alguém se conectou."""
        with Fato(self) as fato:
            self.user_states[quem] = Estado()
            if self.encerrada:
                self._retirar(fato, quem, ENCERRADO)

    def recusar(self, quem: Participante, motivo: Fim) -> None:
        """A conexão não pode continuar: não se identificou direito, ou faltou uma thread para ela."""
        with Fato(self) as fato:
            if quem in self.user_states:
                self._retirar(fato, quem, motivo)

    def entrar(
        self, quem: Participante, tipo: Tipo, nome: str, departamentos: tuple[str, ...] = (SEM_DEPARTAMENTO,)
    ) -> None:
        """Quem se identificou vai para o fim da sua fila, ou direto para uma conversa."""
        with Fato(self) as fato:
            if quem in self.user_states:
                quem.tipo, quem.nome, quem.departamentos = tipo, nome, departamentos
                self._enfileirar(fato, quem)

    def repassar_chat(self, quem: Participante, mensagem: Mensagem) -> Participante | None:
        """`quem` falou: repassa ao par, na íntegra. Devolve a quem foi: o par ou, sem par, ele mesmo, com um aviso.

        É o caminho de cada mensagem: as mãos dadas de um `Fato`, por extenso, para um destino só.
        """
        with self.trava:
            estado = self.user_states.get(quem)
            if estado is None:
                return None
            if estado.par is None:
                destino, comandos = quem, self._sem_par(quem, estado, mensagem.textos)
            else:
                destino, comandos = estado.par, (mensagem,)
                if self.ouvinte is not None:
                    self.ouvinte.ouvir(estado.conversa, "mensagem", quem.nome, destino.nome, mensagem.textos)
            destino.vez.acquire()  # ainda com a trava na mão: ninguém passa à frente
        try:
            destino.entregar(comandos)
        finally:
            destino.vez.release()
        return destino

    def responder(self, quem: Participante, comando: Pergunta | Aviso) -> None:
        """Algo que só diz respeito a `quem`, e não muda nada."""
        with Fato(self) as fato:
            if quem in self.user_states:
                fato.contar(quem, comando)

    def atender(self, quem: Participante, pedido: Pedido) -> None:
        """Um pedido de quem já se identificou: o que acontece está na tabela `PASSOS`."""
        with Fato(self) as fato:
            if quem in self.user_states:
                passo = PASSOS[quem.tipo, self.user_states[quem].fase][type(pedido)]
                if isinstance(passo, Aviso):
                    fato.contar(quem, passo)
                else:
                    passo(self, fato, quem, pedido)

    def sair(self, quem: Participante) -> None:
        """A conexão acabou. A limpeza de todos os casos: pode ser chamada mais de uma vez."""
        with Fato(self) as fato:
            estado = self.user_states.get(quem)
            if estado is None:
                return
            if estado.fase is not Fase.IDENTIFICACAO:
                fato.relatar("DISCONNECT", f"{quem} desconectou.")
            self._retirar(fato, quem)
            if estado.par is not None:
                self._acabar_conversa(fato, quem, estado.par, "desconectou")
            self._formar_pares(fato)

    def desligar(self) -> list[Participante]:
        """O servidor vai encerrar: despede-se de todos, sem enviar, e não admite mais ninguém. Devolve de quem."""
        with self.trava:
            self.encerrada = True
            despedidos = list(self.user_states)
            for quem, estado in self.user_states.items():
                if estado.conversa is not None and quem.tipo is Tipo.CLIENTE:
                    self._fechar_conversa(estado.conversa, "", "", ENCERRADO.mensagem)
                with quem.vez:
                    quem.por_na_caixa((ENCERRADO, FIM_DE_FLUXO))
            for guardado in self.user_states, self.fila_clientes, self.fila_atendentes, self.online:
                guardado.clear()
        return despedidos

    def publicar_posicoes(self) -> list[Participante]:
        """Põe na caixa de cada cliente, sem enviar, a posição que mudou; devolve a quem há o que enviar.

        Enviar a milhares com a trava na mão pararia a todos por dezenas de milissegundos.
        """
        novidades = []
        with self.trava:
            self.posicoes_mudaram = False
            posicoes: Counter[str] = Counter()  # até onde se contou em cada departamento
            for cliente in self.fila_clientes:
                posicoes[cliente.departamentos[0]] += 1
                estado, posicao = self.user_states[cliente], posicoes[cliente.departamentos[0]]
                if estado.posicao != posicao:
                    estado.posicao = posicao
                    novidades.append(cliente)
                    with cliente.vez:
                        cliente.por_na_caixa((Fila(posicao),))
        return novidades

    # Os passos de que os fatos são feitos. Todos exigem a trava.

    def _ouvir(self, conversa: Conversa, evento: str, de: str, para: str, textos: Sequence[str] = ("",)) -> None:
        """Conta ao ouvinte, se há um, o que houve na conversa. Exige a trava."""
        if self.ouvinte is not None:
            self.ouvinte.ouvir(conversa, evento, de, para, textos)

    # A espera.

    def _enfileirar(self, fato: "Fato", *chegaram: Participante, na_frente: bool = False) -> None:
        """Põe cada um na sua fila e forma os pares que der; só conta que espera a quem não teve par.

        Da conversa, o atendente que pediu pausa vai para ela, e o que diz PRONTO espera no intervalo até dizê-lo.
        `na_frente` vale para o cliente, que passa à frente de todos os que não o fizeram antes. Exige a trava.
        """
        for quem in chegaram:
            estado = self.user_states[quem]
            fase, estado.fase, estado.par, estado.conversa = estado.fase, Fase.FILA, None, None
            if quem.tipo is Tipo.CLIENTE:
                estado.desde, estado.na_frente = self.relogio(), na_frente
                lugar = self._fim_da_frente() if na_frente else len(self.fila_clientes)
                if lugar < len(self.fila_clientes):
                    self.posicoes_mudaram = True
                self.fila_clientes.insert(lugar, quem)
            elif fase is Fase.ULTIMA_CONVERSA:
                self._comecar_pausa(fato, quem, Fase.INTERVALO_EM_PAUSA if estado.diz_pronto else Fase.PAUSA)
            elif fase is Fase.CONVERSA and estado.diz_pronto:
                estado.fase = Fase.INTERVALO
            else:
                self.online.add(quem)
                self.fila_atendentes.append(quem)
        self._formar_pares(fato)
        for quem in chegaram:
            estado = self.user_states[quem]
            if estado.fase is not Fase.FILA:
                continue
            if quem.tipo is Tipo.CLIENTE:
                fila = self._fila_de(quem.departamentos)
                estado.posicao = fila.index(quem) + 1 if na_frente else len(fila)
                fato.contar(quem, Fila(estado.posicao))
            else:
                fato.contar(quem, Fila(None))

    def _fim_da_frente(self) -> int:
        """O lugar logo depois dos que passaram à frente. Exige a trava."""
        return len([*itertools.takewhile(lambda quem: self.user_states[quem].na_frente, self.fila_clientes)])

    def _formar_pares(self, fato: "Fato") -> None:
        """Une todos os que se sirvam. Exige a trava.

        Só podem passar a existir dois quando alguém entra numa fila, ou quando um atendente deixa de estar online: era
        talvez o que fazia um cliente não voltar para quem o transferiu.
        """
        while self.tentar_formar_par(fato):
            pass

    def tentar_formar_par(self, fato: "Fato") -> bool:
        """Une o cliente e o atendente que esperam há mais tempo, se houver dois que se sirvam. Exige a trava."""
        par = self._par_possivel()
        if par is None:
            return False
        cliente, atendente = par
        self._tirar_da_fila(cliente)
        self._tirar_da_fila(atendente)
        do_cliente, do_atendente = self.user_states[cliente], self.user_states[atendente]
        agora, departamento = self.relogio(), cliente.departamentos[0]
        self.conversas += 1
        conversa = Conversa(self.conversas, cliente.nome, atendente.nome, departamento, agora)
        do_cliente.fase = do_atendente.fase = Fase.CONVERSA
        do_cliente.par, do_atendente.par = atendente, cliente
        do_cliente.conversa = do_atendente.conversa = conversa
        self.turno.comecou(departamento, agora - do_cliente.desde)
        fato.relatar("MATCHMAKER", f"Par formado: {cliente} com {atendente}{_em(departamento)}.")
        fato.contar(cliente, Conectado(atendente.nome))
        fato.contar(atendente, Conectado(cliente.nome))
        if self.ouvinte is not None:
            fato.contar(cliente, REGISTRADA)
            fato.contar(atendente, REGISTRADA)
        self._ouvir(conversa, "inicio", cliente.nome, atendente.nome)
        if do_cliente.guardadas:
            textos = [guardada.decode() for guardada in do_cliente.guardadas]
            do_cliente.guardadas = []
            fato.contar(atendente, Mensagem(cliente.nome, textos))
            self._ouvir(conversa, "mensagem", cliente.nome, atendente.nome, textos)
        return True

    def _par_possivel(self) -> tuple[Participante, Participante] | None:
        """O primeiro cliente que algum atendente livre atende, e o primeiro deles. Exige a trava."""
        if not self.fila_atendentes:
            return None
        sem_atendente = set()  # departamentos já procurados: com mil clientes num deles, procura-se uma vez
        for cliente in self.fila_clientes:
            departamento = cliente.departamentos[0]
            if departamento not in sem_atendente:
                evitado = self._evitado(cliente)
                for atendente in self.fila_atendentes:
                    if departamento in atendente.departamentos and atendente is not evitado:
                        return cliente, atendente
                if evitado is None:
                    sem_atendente.add(departamento)
        return None

    def _evitado(self, cliente: Participante) -> Participante | None:
        """Quem transferiu o cliente, enquanto outro atendente do departamento estiver online. Exige a trava."""
        quem = self.user_states[cliente].transferido_por
        if quem is None:
            return None
        outros = (outro for outro in self.online if outro is not quem)
        return quem if any(cliente.departamentos[0] in outro.departamentos for outro in outros) else None

    def _tirar_da_fila(self, quem: Participante) -> None:
        """Tira `quem` da espera; se é cliente, os de trás avançam. Exige a trava."""
        if quem.tipo is Tipo.ATENDENTE:
            self.fila_atendentes.remove(quem)
            return
        lugar = self.fila_clientes.index(quem)
        del self.fila_clientes[lugar]
        if lugar < len(self.fila_clientes):
            self.posicoes_mudaram = True

    def _fila_de(self, departamentos: Sequence[str]) -> list[Participante]:
        """Os clientes que esperam num dos departamentos, por ordem. Exige a trava."""
        if not self.departamentos:
            return self.fila_clientes
        return [cliente for cliente in self.fila_clientes if cliente.departamentos[0] in departamentos]

    def _sem_par(self, quem: Participante, estado: Estado, textos: Sequence[str]) -> list[Aviso]:
        """Os avisos a quem fala sem ter com quem; do cliente, guarda o que couber. Exige a trava."""
        if quem.tipo is Tipo.ATENDENTE:
            return [SEM_CLIENTE] * len(textos)
        avisos = [] if estado.guardadas else [NA_ESPERA]
        cabem = self.MAXIMO_GUARDADO - len(estado.guardadas)
        estado.guardadas += [texto.encode("utf-8", "replace") for texto in textos[:cabem]]
        return avisos + [NAO_GUARDADA] * len(textos[cabem:])

    # Os passos de um pedido.

    def _sair_da_fila(self, fato: "Fato", cliente: Participante, _: Fim) -> None:
        """`FIM:` do cliente que espera. Exige a trava."""
        fato.relatar("DISCONNECT", f"{cliente} saiu da fila.")
        self._retirar(fato, cliente, Fim("Você saiu da fila."))

    def _encerrar_conversa(self, fato: "Fato", quem: Participante, _: Fim) -> None:
        """`FIM:` de quem conversa. Exige a trava."""
        self._acabar_conversa(fato, quem, self.user_states[quem].par, "encerrou a conversa")

    def _dizer_a_situacao(self, fato: "Fato", cliente: Participante, _: Consulta) -> None:
        """O que um cliente que espera quer saber. Exige a trava."""
        departamento = cliente.departamentos[0]
        fila = self._fila_de(cliente.departamentos)
        posicao = fila.index(cliente) + 1
        online = sum(departamento in atendente.departamentos for atendente in self.online)
        resposta = f"Você é o número {posicao} de {len(fila)} na fila; atendentes online: {online}"
        if espera := self.turno.estimar(departamento, posicao, online):
            resposta += f"; espera estimada: {espera}"
        fato.contar(cliente, Aviso(f"{resposta}."))

    def _dizer_quem_espera(self, fato: "Fato", atendente: Participante, _: Consulta) -> None:
        """O que um atendente quer saber. Exige a trava."""
        fila = self._fila_de(atendente.departamentos)
        nomes = [cliente.nome for cliente in fila[: self.NOMES_NA_CONSULTA]]
        if len(fila) > self.NOMES_NA_CONSULTA:
            nomes.append("…")
        resposta = f"Clientes na fila: {len(fila)} ({', '.join(nomes)})." if fila else "Nenhum cliente na fila."
        fato.contar(atendente, Aviso(resposta))

    def _pausar(self, fato: "Fato", atendente: Participante, _: Pausa) -> None:
        """O atendente livre entra em pausa. Exige a trava."""
        self._tirar_da_fila(atendente)
        self._comecar_pausa(fato, atendente, Fase.PAUSA)

    def _pausar_no_intervalo(self, fato: "Fato", atendente: Participante, _: Pausa) -> None:
        """O atendente entre duas conversas entra em pausa. Exige a trava."""
        self._comecar_pausa(fato, atendente, Fase.INTERVALO_EM_PAUSA)

    def _pausar_depois(self, fato: "Fato", atendente: Participante, _: Pausa) -> None:
        """A pausa pedida numa conversa começa quando ela acabar. Exige a trava."""
        self.user_states[atendente].fase = Fase.ULTIMA_CONVERSA
        fato.contar(atendente, Aviso("Você ficará em pausa depois desta conversa."))

    def _comecar_pausa(self, fato: "Fato", atendente: Participante, fase: Fase) -> None:
        """O atendente, que não está na fila, entra em pausa, numa das duas fases em que se está nela. Exige a trava."""
        self.user_states[atendente].fase = fase
        self.online.discard(atendente)
        fato.relatar("PAUSA", f"{atendente} está em pausa.")
        fato.contar(atendente, Aviso("Você está em pausa."))
        self._formar_pares(fato)

    def _cancelar_pausa(self, fato: "Fato", atendente: Participante, _: Volta) -> None:
        """A pausa que não tinha começado já não começa. Exige a trava."""
        self.user_states[atendente].fase = Fase.CONVERSA
        fato.contar(atendente, Aviso("Pausa cancelada."))

    def _voltar(self, fato: "Fato", atendente: Participante, _: Volta) -> None:
        """O atendente em pausa vai para o fim da fila, ou direto para uma conversa. Exige a trava."""
        fato.relatar("RE-QUEUE", f"{atendente} voltou da pausa.")
        self._enfileirar(fato, atendente)

    def _transferir(self, fato: "Fato", atendente: Participante, pedido: Transferencia) -> None:
        """O cliente vai para a frente da fila do outro departamento, e o atendente fica livre. Exige a trava."""
        estado = self.user_states[atendente]
        cliente = estado.par
        try:
            (departamento,) = escolher_departamentos(pedido.departamento, self.departamentos, varios=False)
            if (departamento,) == cliente.departamentos:
                raise ValueError(f"O cliente {cliente.nome} já está em {departamento}.")
        except ValueError as erro:
            fato.contar(atendente, Aviso(str(erro)))
            return
        motivo = f"O cliente {cliente.nome} foi transferido para {departamento}."
        self._fechar_conversa(estado.conversa, atendente.nome, cliente.nome, motivo)
        cliente.departamentos = (departamento,)
        self.user_states[cliente].transferido_por = atendente
        fato.relatar("RE-QUEUE", f"{cliente} transferido para {departamento} por {atendente}.")
        fato.contar(cliente, Aviso(f"Você foi transferido para {departamento}."))
        fato.contar(atendente, Fim(f"Atendimento encerrado. {motivo}"))
        self._enfileirar(fato, cliente, atendente, na_frente=True)

    def _so_chamar_com_pronto(self, _fato: "Fato", atendente: Participante, _: Pronto) -> None:
        """`PRONTO:` fora do intervalo: daqui em diante, depois de cada conversa se espera por outro. Exige a trava."""
        self.user_states[atendente].diz_pronto = True

    def _chamar(self, fato: "Fato", atendente: Participante, _: Pronto) -> None:
        """`PRONTO:` de quem leu o fim da conversa: volta para a fila, ou vai direto para outra. Exige a trava."""
        fato.relatar("RE-QUEUE", f"{atendente} de volta à fila.")
        self._enfileirar(fato, atendente)

    def _continuar_em_pausa(self, _fato: "Fato", atendente: Participante, _: Pronto) -> None:
        """`PRONTO:` de quem leu o fim da conversa, e está em pausa. Exige a trava."""
        self.user_states[atendente].fase = Fase.PAUSA

    # O fim.

    def _acabar_conversa(self, fato: "Fato", quem: Participante, par: Participante, fez: str) -> None:
        """Desfaz o par: o cliente é desconectado, e o atendente fica livre. Exige a trava."""
        motivo = f"O {quem.tipo.value.lower()} {quem.nome} {fez}."
        self._fechar_conversa(self.user_states[par].conversa, quem.nome, par.nome, motivo)
        caiu = quem not in self.user_states
        if self.devolver and caiu and par.tipo is Tipo.CLIENTE:
            fato.relatar("RE-QUEUE", f"{par} de volta à fila: o atendente caiu.")
            fato.contar(par, Aviso(f"{motivo} Você voltou para o início da fila."))
            self._enfileirar(fato, par, na_frente=True)
            return
        self._acabar_para(fato, par, motivo)
        if not caiu:
            self._acabar_para(fato, quem, f"Você {fez}.")

    def _acabar_para(self, fato: "Fato", quem: Participante, motivo: str) -> None:
        """O fim da conversa para um dos dois. Exige a trava."""
        fim = Fim(f"Atendimento encerrado. {motivo}")
        if quem.tipo is Tipo.CLIENTE:
            fato.relatar("DISCONNECT", f"{quem} será desconectado: a conversa acabou.")
            self._retirar(fato, quem, fim)
        else:
            estado = self.user_states[quem]
            if estado.fase is Fase.CONVERSA and not estado.diz_pronto:
                fato.relatar("RE-QUEUE", f"{quem} de volta à fila.")
            fato.contar(quem, fim)
            self._enfileirar(fato, quem)

    def _fechar_conversa(self, conversa: Conversa, de: str, para: str, motivo: str) -> None:
        """Anota o fim de um atendimento. Exige a trava."""
        self.turno.acabou(conversa.departamento, self.relogio() - conversa.inicio)
        self._ouvir(conversa, "fim", de, para, (motivo,))

    def _retirar(self, fato: "Fato", quem: Participante, fim: Fim | None = None) -> None:
        """Tira `quem` de toda parte e despede-se dele, com uma última linha se houver. Exige a trava."""
        self.online.discard(quem)
        if self.user_states.pop(quem).fase is Fase.FILA:
            self._tirar_da_fila(quem)
            if quem.tipo is Tipo.CLIENTE:
                self.turno.desistiu(quem.departamentos[0])
        if fim is not None:
            fato.contar(quem, fim)
        fato.contar(quem, FIM_DE_FLUXO)


class Fato:
    """Uma seção crítica, e as mãos dadas com que se envia o que ela conta.

        with Fato(filas) as fato:      toma a trava
            fato.contar(ana, ...)      toma a vez de Ana, ainda com a trava
        ...                            solta a trava, envia a Ana, solta a vez dela; só então escreve no log
    """

    def __init__(self, filas: Filas) -> None:
        self._filas = filas
        self._a_contar: dict[Participante, list[Comando | None]] = {}
        self._maos = contextlib.ExitStack()  # os envios, e depois as vezes a soltar: nenhum que falhe prende os outros
        self._relatos: list[tuple[str, str]] = []  # (marca, texto)

    def __enter__(self) -> "Fato":
        self._filas.trava.acquire()
        return self

    def contar(self, destino: Participante, comando: Comando | None) -> None:
        """Há o que contar a `destino`: daqui até o envio, a vez dele é deste fato. Exige a trava."""
        assert self._filas.trava.locked()
        if destino not in self._a_contar:
            destino.vez.acquire()
            self._maos.callback(destino.vez.release)
            self._a_contar[destino] = []
        self._a_contar[destino].append(comando)

    def relatar(self, marca: str, texto: str) -> None:
        """Há o que pôr no log, depois de enviar."""
        self._relatos.append((marca, texto))

    def __exit__(self, *_: object) -> None:
        self._filas.trava.release()
        with self._maos:
            # Numa pilha: a última coisa que se põe é a primeira que se faz, e um envio que falha não impede os outros.
            for destino, comandos in reversed(self._a_contar.items()):
                self._maos.callback(destino.entregar, comandos)
        for marca, texto in self._relatos:
            log.info(texto, extra={"marca": marca})


def _em(departamento: str) -> str:
    return f" em {departamento}" if departamento else ""


_SO_ATENDENTES = {
    Pausa: Aviso("Só atendentes fazem pausa."),
    Volta: Aviso("Só atendentes fazem pausa."),
    Transferencia: Aviso("Só atendentes transferem clientes."),
    Pronto: Aviso("Só atendentes dizem que estão prontos."),
}
_SEM_QUEM_TRANSFERIR = Aviso("Nenhum cliente conectado para transferir.")
_SEM_CONVERSA = Aviso("Nenhuma conversa para encerrar.")
_SEM_PAUSA = Aviso("Você não está em pausa.")
_JA_EM_PAUSA = Aviso("Você já está em pausa.")
_JA_ACABOU = Aviso("A conversa já acabou.")

PASSOS = {
    (Tipo.CLIENTE, Fase.FILA): {
        Fim: Filas._sair_da_fila,
        Consulta: Filas._dizer_a_situacao,
        **_SO_ATENDENTES,
    },
    (Tipo.CLIENTE, Fase.CONVERSA): {
        Fim: Filas._encerrar_conversa,
        Consulta: Aviso("Você já está sendo atendido."),
        **_SO_ATENDENTES,
    },
    (Tipo.ATENDENTE, Fase.FILA): {
        Fim: _SEM_CONVERSA,
        Consulta: Filas._dizer_quem_espera,
        Pausa: Filas._pausar,
        Volta: _SEM_PAUSA,
        Transferencia: _SEM_QUEM_TRANSFERIR,
        Pronto: Filas._so_chamar_com_pronto,
    },
    (Tipo.ATENDENTE, Fase.CONVERSA): {
        Fim: Filas._encerrar_conversa,
        Consulta: Filas._dizer_quem_espera,
        Pausa: Filas._pausar_depois,
        Volta: _SEM_PAUSA,
        Transferencia: Filas._transferir,
        Pronto: Filas._so_chamar_com_pronto,
    },
    (Tipo.ATENDENTE, Fase.ULTIMA_CONVERSA): {
        Fim: Filas._encerrar_conversa,
        Consulta: Filas._dizer_quem_espera,
        Pausa: Filas._pausar_depois,
        Volta: Filas._cancelar_pausa,
        Transferencia: Filas._transferir,
        Pronto: Filas._so_chamar_com_pronto,
    },
    (Tipo.ATENDENTE, Fase.PAUSA): {
        Fim: _SEM_CONVERSA,
        Consulta: Filas._dizer_quem_espera,
        Pausa: _JA_EM_PAUSA,
        Volta: Filas._voltar,
        Transferencia: _SEM_QUEM_TRANSFERIR,
        Pronto: Filas._so_chamar_com_pronto,
    },
    (Tipo.ATENDENTE, Fase.INTERVALO): {
        Fim: _JA_ACABOU,
        Consulta: Filas._dizer_quem_espera,
        Pausa: Filas._pausar_no_intervalo,
        Volta: _SEM_PAUSA,
        Transferencia: _JA_ACABOU,
        Pronto: Filas._chamar,
    },
    (Tipo.ATENDENTE, Fase.INTERVALO_EM_PAUSA): {
        Fim: _JA_ACABOU,
        Consulta: Filas._dizer_quem_espera,
        Pausa: _JA_EM_PAUSA,
        Volta: Filas._voltar,
        Transferencia: _JA_ACABOU,
        Pronto: Filas._continuar_em_pausa,
    },
}
"""O que um pedido faz, por quem o manda e por onde ele está: um passo, ou o aviso de que não cabe."""
