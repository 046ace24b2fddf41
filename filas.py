"""As filas: quem espera, quem conversa com quem, e o que falta dizer a cada um. Só memória.

É a metade do servidor que decide; a outra, `servidor.py`, é só rede. Um **fato** (entrou, falou,
saiu) é uma seção crítica: muda o estado **e** põe nas caixas de saída as linhas que o contam, e por
isso cada um lê os fatos na ordem em que aconteceram. O envio vem depois, fora da trava.
"""

import enum
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocolo import (
    MAXIMO_DA_LINHA,
    Aviso,
    Comando,
    Conectado,
    Fila,
    Fim,
    Formato,
    Mensagem,
    Pergunta,
    Texto,
    Tipo,
    escolher_departamentos,
)
from turno import Turno

MAXIMO_GUARDADO = 20
"""Mensagens que um cliente pode deixar prontas enquanto espera."""

CAIXA_CHEIA = 64 * 1024
"""Bytes: de uma caixa de saída maior que isto, quem fala espera a vez de enviar."""

NOMES_NA_CONSULTA = 10
"""Clientes que a resposta a um atendente nomeia."""

LOTADO = Fim("Servidor lotado; tente mais tarde.")
ENCERRADO = Fim("Servidor encerrado.")
LONGA_DEMAIS = Aviso(f"Mensagem longa demais (máximo de {MAXIMO_DA_LINHA} bytes); não foi enviada.")
REGISTRADA = Aviso("Esta conversa está sendo registrada.")

SEM_DEPARTAMENTO = ""
"""O departamento de todos, num servidor que não os tem."""


class Participante:
    """Uma conexão vista pelas filas: quem é, e o que falta lhe dizer.

    `caixa` é a caixa de saída: as linhas já codificadas, na ordem dos fatos. `retirado` diz que
    ele já não está em `user_states` e que nada mais entra na caixa: depois dela, o fim de fluxo.
    """

    def __init__(self) -> None:
        self.nome = ""
        self.tipo = Tipo.CLIENTE
        self.formato: Formato = Texto()
        self.departamentos: tuple[str, ...] = (SEM_DEPARTAMENTO,)  # o cliente tem um só
        self.caixa: list[bytes] = []
        self.retirado = False

    def __str__(self) -> str:
        return f"{self.nome} ({self.tipo.value})"


class Fase(enum.Enum):
    """Onde está quem se conectou. Sair de qualquer uma delas é sair de `user_states`."""

    IDENTIFICACAO = enum.auto()
    FILA = enum.auto()
    CONVERSA = enum.auto()
    PAUSA = enum.auto()  # só atendentes


@dataclass(slots=True)
class Conversa:
    """Um atendimento, do `CONECTADO:` ao fim."""

    numero: int  # 1, 2, 3...
    cliente: str  # nomes
    atendente: str
    departamento: str
    inicio: float  # segundos, pelo relógio das filas


@dataclass(slots=True)
class Acontecimento:
    """O que houve numa conversa, para quem só ouve."""

    conversa: Conversa
    evento: str  # "inicio", "mensagem" ou "fim"
    de: str  # um nome; vazio se foi o servidor
    para: str
    textos: Sequence[str]  # as mensagens; ou o motivo do fim; um só, vazio, no início
    momento: float = field(default_factory=time.time)  # segundos desde 1970


@dataclass(slots=True)
class Estado:
    """O que `user_states` guarda de cada participante."""

    fase: Fase = Fase.IDENTIFICACAO
    par: Participante | None = None  # com quem conversa
    conversa: Conversa | None = None  # a mesma para os dois
    guardadas: list[str] = field(default_factory=list)  # mensagens de quem ainda espera
    posicao: int = 0  # a última que o cliente soube
    desde: float = 0.0  # quando começou a esperar, pelo relógio das filas
    quer_pausa: bool = False  # a pausa começa quando a conversa acabar


@dataclass(slots=True)
class Efeito:
    """O que um fato deixou por fazer fora da trava: a quem entregar linhas e o que pôr no log."""

    destinos: dict[Participante, None] = field(default_factory=dict)  # um conjunto que guarda a ordem
    registros: list[tuple[str, str]] = field(default_factory=list)  # (marca, texto)


class Filas:
    """Quem espera e quem conversa com quem. Cada método público é um fato e toma a trava uma vez.

    Nenhum deles bloqueia nem faz entrada ou saída: devolvem um `Efeito`, e quem chamou o cumpre.
    `devolver` diz que o cliente de um atendente que cai volta para a fila. `ouvinte` é chamado, com
    a trava na mão, a cada acontecimento de uma conversa: também ele só pode mexer em memória.
    """

    def __init__(
        self,
        maximo: int = 1000,
        *,
        departamentos: Sequence[str] = (),
        devolver: bool = False,
        ouvinte: Callable[[Acontecimento], None] | None = None,
        relogio: Callable[[], float] = time.monotonic,
    ) -> None:
        self.maximo = maximo
        self.departamentos = tuple(departamentos)
        self.devolver = devolver
        self.ouvinte = ouvinte
        self.relogio = relogio
        # A trava (a `global_lock` do relatório) guarda tudo o que vem abaixo e, de cada
        # participante, a caixa de saída, `retirado`, `nome`, `tipo` e `departamentos`.
        self.trava = threading.Lock()
        self.fila_clientes: list[Participante] = []  # de todos os departamentos, por ordem de espera
        self.fila_atendentes: list[Participante] = []
        self.user_states: dict[Participante, Estado] = {}  # todos os conectados, em qualquer fase
        self.online: set[Participante] = set()  # os atendentes na fila ou em conversa
        self.turno = Turno(self.departamentos or (SEM_DEPARTAMENTO,))
        self.conversas = 0  # quantas já começaram
        self.posicoes_mudaram = False  # há clientes que ainda não sabem a sua nova posição
        self.encerrada = False

    # Os fatos.

    def admitir(self, eu: Participante) -> bool:
        """Alguém se conectou. `False` se não há lugar: então só falta despedir-se dele."""
        with self.trava:
            self.user_states[eu] = Estado()
            if self.encerrada or len(self.user_states) > self.maximo:
                self._despedir(Efeito(), eu, ENCERRADO if self.encerrada else LOTADO)
            return not eu.retirado

    def recusar(self, eu: Participante, motivo: Fim) -> Efeito:
        """A conexão não pode continuar: não se identificou direito, ou faltou uma thread para ela."""
        efeito = Efeito()
        with self.trava:
            if eu in self.user_states:
                self._despedir(efeito, eu, motivo)
        return efeito

    def entrar(
        self, eu: Participante, tipo: Tipo, nome: str, departamentos: tuple[str, ...] = (SEM_DEPARTAMENTO,)
    ) -> Efeito:
        """Quem se identificou vai para o fim da sua fila, ou direto para uma conversa."""
        efeito = Efeito()
        with self.trava:
            if eu in self.user_states:
                eu.tipo, eu.nome, eu.departamentos = tipo, nome, departamentos
                eu.formato = type(eu.formato)(nome)
                self._enfileirar(efeito, eu)
        return efeito

    def repassar_chat(self, eu: Participante, mensagem: Mensagem) -> Participante | None:
        """`eu` falou: entrega ao par, na íntegra. Devolve quem tem linhas a receber.

        Sem par, é o próprio `eu` que recebe um aviso; a mensagem do cliente fica guardada.
        """
        with self.trava:
            estado = self.user_states.get(eu)
            if estado is None:
                return None
            if (par := estado.par) is not None:
                self._dizer(par, mensagem)
                self._acontecer(estado.conversa, "mensagem", eu.nome, par.nome, mensagem.textos)
                return par
            if eu.tipo is Tipo.CLIENTE:
                self._guardar(eu, estado, mensagem.textos)
            else:
                for _ in mensagem.textos:
                    self._dizer(eu, Aviso("Nenhum cliente conectado; a mensagem não foi enviada."))
            return eu

    def responder(self, eu: Participante, comando: Pergunta | Aviso) -> Efeito:
        """Algo que só diz respeito a `eu`, e não muda nada."""
        efeito = Efeito()
        with self.trava:
            if eu in self.user_states:
                self._contar(efeito, eu, comando)
        return efeito

    def consultar(self, eu: Participante) -> Efeito:
        """`FILA:` de `eu`: como está a fila em que espera, ou a de que recebe."""
        efeito = Efeito()
        with self.trava:
            if estado := self.user_states.get(eu):
                if eu.tipo is Tipo.ATENDENTE:
                    resposta = self._quem_espera(eu)
                elif estado.fase is Fase.FILA:
                    resposta = self._situacao(eu)
                else:
                    resposta = "Você já está sendo atendido."
                self._contar(efeito, eu, Aviso(resposta))
        return efeito

    def pausar(self, eu: Participante) -> Efeito:
        """`PAUSA:` de `eu`: o atendente deixa de receber clientes, já ou no fim da conversa."""
        efeito = Efeito()
        with self.trava:
            if estado := self.user_states.get(eu):
                match eu.tipo, estado.fase:
                    case Tipo.CLIENTE, _:
                        self._contar(efeito, eu, Aviso("Só atendentes fazem pausa."))
                    case _, Fase.CONVERSA:
                        estado.quer_pausa = True
                        self._contar(efeito, eu, Aviso("Você ficará em pausa depois desta conversa."))
                    case _, Fase.PAUSA:
                        self._contar(efeito, eu, Aviso("Você já está em pausa."))
                    case _:
                        self.fila_atendentes.remove(eu)
                        self._comecar_pausa(efeito, eu)
        return efeito

    def voltar(self, eu: Participante) -> Efeito:
        """`VOLTA:` de `eu`: o atendente em pausa vai para o fim da fila, ou direto para uma conversa."""
        efeito = Efeito()
        with self.trava:
            if estado := self.user_states.get(eu):
                match eu.tipo, estado.fase:
                    case Tipo.CLIENTE, _:
                        self._contar(efeito, eu, Aviso("Só atendentes fazem pausa."))
                    case _, Fase.PAUSA:
                        efeito.registros.append(("RE-QUEUE", f"{eu} voltou da pausa."))
                        self._enfileirar(efeito, eu)
                    case _ if estado.quer_pausa:
                        estado.quer_pausa = False
                        self._contar(efeito, eu, Aviso("Pausa cancelada."))
                    case _:
                        self._contar(efeito, eu, Aviso("Você não está em pausa."))
        return efeito

    def transferir(self, eu: Participante, departamento: str) -> Efeito:
        """`TRANSFERIR:` de `eu`: o cliente vai para a frente da fila de lá, e o atendente fica livre."""
        efeito = Efeito()
        with self.trava:
            if estado := self.user_states.get(eu):
                if eu.tipo is Tipo.CLIENTE:
                    self._contar(efeito, eu, Aviso("Só atendentes transferem clientes."))
                elif estado.par is None:
                    self._contar(efeito, eu, Aviso("Nenhum cliente conectado para transferir."))
                else:
                    self._transferir(efeito, eu, estado.par, departamento)
        return efeito

    def encerrar(self, eu: Participante) -> Efeito:
        """`FIM:` de `eu`: acaba a conversa; fora de uma, `eu` deixa a fila."""
        efeito = Efeito()
        with self.trava:
            estado = self.user_states.get(eu)
            if estado is None:
                return efeito
            if estado.par is None:
                efeito.registros.append(("DISCONNECT", f"{eu} saiu da fila."))
                self._despedir(efeito, eu, Fim("Você saiu da fila."))
            else:
                self._acabar_conversa(efeito, eu, estado.par, "encerrou a conversa")
        return efeito

    def sair(self, eu: Participante) -> Efeito:
        """A conexão acabou. A limpeza de todos os casos: pode ser chamada mais de uma vez."""
        efeito = Efeito()
        with self.trava:
            estado = self.user_states.get(eu)
            if estado is None:
                return efeito
            if estado.fase is not Fase.IDENTIFICACAO:
                efeito.registros.append(("DISCONNECT", f"{eu} desconectou."))
            par = estado.par
            self._despedir(efeito, eu)
            if par is not None:
                self._acabar_conversa(efeito, eu, par, "desconectou")
        return efeito

    def desligar(self) -> Efeito:
        """O servidor vai encerrar: despede-se de todos, e ninguém mais é admitido."""
        efeito = Efeito()
        with self.trava:
            self.encerrada = True
            for participante, estado in list(self.user_states.items()):
                if estado.conversa is not None and participante.tipo is Tipo.CLIENTE:
                    self._fechar_conversa(estado.conversa, "", "", ENCERRADO.mensagem)
                self._despedir(efeito, participante, ENCERRADO)
        return efeito

    def publicar_posicoes(self) -> Efeito:
        """Conta a cada cliente a posição que mudou desde a última que ele soube."""
        efeito = Efeito()
        with self.trava:
            self.posicoes_mudaram = False
            posicoes: Counter[str] = Counter()  # até onde se contou em cada departamento
            for cliente in self.fila_clientes:
                posicoes[cliente.departamentos[0]] += 1
                self._dizer_posicao(efeito, cliente, posicoes[cliente.departamentos[0]])
        return efeito

    # A caixa de saída, para quem vai enviar.

    def recolher(self, eu: Participante) -> tuple[bytes, bool]:
        """Esvazia a caixa de `eu`: devolve o que havia nela, e se depois disso não vem mais nada."""
        with self.trava:
            linhas, eu.caixa, acabou = eu.caixa, [], eu.retirado
        return b"".join(linhas), acabou

    def caixa_cheia(self, eu: Participante) -> bool:
        """Diz se quem fala com `eu` deve esperar antes de falar mais."""
        with self.trava:
            return sum(map(len, eu.caixa)) >= CAIXA_CHEIA

    # Os passos de que os fatos são feitos. Todos exigem a trava.

    def _dizer(self, destino: Participante, comando: Comando) -> None:
        """Põe o comando na caixa de saída. Exige a trava."""
        destino.caixa.append(destino.formato.codificar(comando))

    def _contar(self, efeito: Efeito, destino: Participante, comando: Comando) -> None:
        """Como `_dizer`, e lembra que há o que entregar. Exige a trava."""
        self._dizer(destino, comando)
        efeito.destinos[destino] = None

    def _acontecer(
        self, conversa: Conversa, evento: str, de: str, para: str, textos: Sequence[str] = ("",)
    ) -> None:
        """Conta um acontecimento a quem ouve, se há alguém. Exige a trava."""
        if self.ouvinte is not None:
            self.ouvinte(Acontecimento(conversa, evento, de, para, textos))

    def _dizer_posicao(self, efeito: Efeito, cliente: Participante, posicao: int) -> None:
        """Conta a posição, se for novidade para o cliente. Exige a trava."""
        estado = self.user_states[cliente]
        if estado.posicao != posicao:
            estado.posicao = posicao
            self._contar(efeito, cliente, Fila(posicao))

    # A espera.

    def _enfileirar(self, efeito: Efeito, *chegaram: Participante, na_frente: bool = False) -> None:
        """Põe cada um na sua fila e forma os pares que der; só conta que espera a quem não teve par.

        O atendente que queria pausa fica nela. `na_frente` vale para o cliente, que passa a ser o
        primeiro do seu departamento e de todos. Exige a trava.
        """
        for eu in chegaram:
            estado = self.user_states[eu]
            estado.fase, estado.par, estado.conversa = Fase.FILA, None, None
            if eu.tipo is Tipo.CLIENTE:
                estado.desde, estado.posicao = self.relogio(), 0
                self.posicoes_mudaram = self.posicoes_mudaram or na_frente and bool(self.fila_clientes)
                self.fila_clientes.insert(0 if na_frente else len(self.fila_clientes), eu)
            elif estado.quer_pausa:
                self._comecar_pausa(efeito, eu)
            else:
                self.online.add(eu)
                self.fila_atendentes.append(eu)
        while self.tentar_formar_par(efeito):
            pass
        for eu in chegaram:
            if self.user_states[eu].fase is not Fase.FILA:
                continue
            if eu.tipo is Tipo.CLIENTE:
                self._dizer_posicao(efeito, eu, 1 if na_frente else len(self._fila_de(eu.departamentos)))
            else:
                self._contar(efeito, eu, Fila(None))

    def tentar_formar_par(self, efeito: Efeito) -> bool:
        """Une o cliente e o atendente que esperam há mais tempo, se houver dois que se sirvam. Exige a trava.

        Basta tentar quando alguém entra numa fila: só então podem passar a existir os dois.
        """
        par = self._par_possivel()
        if par is None:
            return False
        cliente, atendente = par
        self._tirar_da_fila(cliente)
        self.fila_atendentes.remove(atendente)
        do_cliente, do_atendente = self.user_states[cliente], self.user_states[atendente]
        agora, departamento = self.relogio(), cliente.departamentos[0]
        self.conversas += 1
        conversa = Conversa(self.conversas, cliente.nome, atendente.nome, departamento, agora)
        do_cliente.fase = do_atendente.fase = Fase.CONVERSA
        do_cliente.par, do_atendente.par = atendente, cliente
        do_cliente.conversa = do_atendente.conversa = conversa
        self.turno.comecou(departamento, agora - do_cliente.desde)
        efeito.registros.append(("MATCHMAKER", f"Par formado: {cliente} com {atendente}{_em(departamento)}."))
        guardadas, do_cliente.guardadas = do_cliente.guardadas, []
        self._contar(efeito, cliente, Conectado(atendente.nome))
        self._contar(efeito, atendente, Conectado(cliente.nome))
        if self.ouvinte is not None:
            self._contar(efeito, cliente, REGISTRADA)
            self._contar(efeito, atendente, REGISTRADA)
        self._acontecer(conversa, "inicio", cliente.nome, atendente.nome)
        if guardadas:
            self._dizer(atendente, Mensagem(cliente.nome, guardadas))
            self._acontecer(conversa, "mensagem", cliente.nome, atendente.nome, guardadas)
        return True

    def _par_possivel(self) -> tuple[Participante, Participante] | None:
        """O primeiro cliente que algum atendente livre atende, e o primeiro deles. Exige a trava."""
        sem_atendente = set()  # departamentos já procurados: com mil clientes num deles, procura-se uma vez
        for cliente in self.fila_clientes if self.fila_atendentes else ():
            departamento = cliente.departamentos[0]
            if departamento not in sem_atendente:
                for atendente in self.fila_atendentes:
                    if departamento in atendente.departamentos:
                        return cliente, atendente
                sem_atendente.add(departamento)
        return None

    def _tirar_da_fila(self, cliente: Participante) -> None:
        """Tira o cliente da espera, e lembra que os de trás avançaram. Exige a trava."""
        lugar = self.fila_clientes.index(cliente)
        del self.fila_clientes[lugar]
        self.posicoes_mudaram = self.posicoes_mudaram or lugar < len(self.fila_clientes)

    def _fila_de(self, departamentos: Sequence[str]) -> list[Participante]:
        """Os clientes que esperam num dos departamentos, por ordem. Exige a trava."""
        if not self.departamentos:
            return self.fila_clientes
        return [cliente for cliente in self.fila_clientes if cliente.departamentos[0] in departamentos]

    def _comecar_pausa(self, efeito: Efeito, atendente: Participante) -> None:
        """O atendente, que não está na fila, entra em pausa. Exige a trava."""
        estado = self.user_states[atendente]
        estado.fase, estado.quer_pausa = Fase.PAUSA, False
        self.online.discard(atendente)
        efeito.registros.append(("PAUSA", f"{atendente} está em pausa."))
        self._contar(efeito, atendente, Aviso("Você está em pausa."))

    def _guardar(self, eu: Participante, estado: Estado, textos: Sequence[str]) -> None:
        """Guarda o que o cliente diz enquanto espera, até o limite. Exige a trava."""
        if not estado.guardadas:
            self._dizer(eu, Aviso("Você ainda está na fila; sua mensagem será entregue ao atendente."))
        cabem = MAXIMO_GUARDADO - len(estado.guardadas)
        estado.guardadas += textos[:cabem]
        for _ in textos[cabem:]:
            self._dizer(eu, Aviso("Limite de mensagens na espera atingido; a mensagem não foi guardada."))

    def _situacao(self, cliente: Participante) -> str:
        """O que um cliente que espera quer saber. Exige a trava."""
        departamento = cliente.departamentos[0]
        fila = self._fila_de(cliente.departamentos)
        posicao = fila.index(cliente) + 1
        online = sum(departamento in atendente.departamentos for atendente in self.online)
        resposta = f"Você é o número {posicao} de {len(fila)} na fila; atendentes online: {online}"
        if espera := self.turno.estimar(departamento, posicao, online):
            resposta += f"; espera estimada: {espera}"
        return f"{resposta}."

    def _quem_espera(self, atendente: Participante) -> str:
        """O que um atendente quer saber. Exige a trava."""
        fila = self._fila_de(atendente.departamentos)
        if not fila:
            return "Nenhum cliente na fila."
        nomes = [cliente.nome for cliente in fila[:NOMES_NA_CONSULTA]] + ["…"] * (len(fila) > NOMES_NA_CONSULTA)
        return f"Clientes na fila: {len(fila)} ({', '.join(nomes)})."

    # O fim.

    def _acabar_conversa(self, efeito: Efeito, quem: Participante, par: Participante, fez: str) -> None:
        """Desfaz o par: o cliente é desconectado; o atendente volta para a fila. Exige a trava."""
        motivo = f"O {quem.tipo.value.lower()} {quem.nome} {fez}."
        self._fechar_conversa(self.user_states[par].conversa, quem.nome, par.nome, motivo)
        if self.devolver and quem.retirado and par.tipo is Tipo.CLIENTE:
            efeito.registros.append(("RE-QUEUE", f"{par} de volta à fila: o atendente caiu."))
            self._contar(efeito, par, Aviso(f"{motivo} Você voltou para o início da fila."))
            self._enfileirar(efeito, par, na_frente=True)
            return
        self._acabar_para(efeito, par, motivo)
        if not quem.retirado:
            self._acabar_para(efeito, quem, f"Você {fez}.")

    def _acabar_para(self, efeito: Efeito, eu: Participante, motivo: str) -> None:
        """O fim da conversa para um dos dois. Exige a trava."""
        fim = Fim(f"Atendimento encerrado. {motivo}")
        if eu.tipo is Tipo.CLIENTE:
            efeito.registros.append(("DISCONNECT", f"{eu} será desconectado: a conversa acabou."))
            self._despedir(efeito, eu, fim)
        else:
            if not self.user_states[eu].quer_pausa:
                efeito.registros.append(("RE-QUEUE", f"{eu} de volta à fila."))
            self._contar(efeito, eu, fim)
            self._enfileirar(efeito, eu)

    def _transferir(self, efeito: Efeito, atendente: Participante, cliente: Participante, pedido: str) -> None:
        """Passa o cliente a outro departamento, se o pedido serve; senão, só avisa. Exige a trava."""
        try:
            (departamento,) = escolher_departamentos(pedido, self.departamentos, varios=False)
        except ValueError as erro:
            self._contar(efeito, atendente, Aviso(str(erro)))
            return
        if (departamento,) == cliente.departamentos:
            self._contar(efeito, atendente, Aviso(f"O cliente {cliente.nome} já está em {departamento}."))
            return
        motivo = f"O cliente {cliente.nome} foi transferido para {departamento}."
        self._fechar_conversa(self.user_states[cliente].conversa, atendente.nome, cliente.nome, motivo)
        cliente.departamentos = (departamento,)
        efeito.registros.append(("RE-QUEUE", f"{cliente} transferido para {departamento} por {atendente}."))
        self._contar(efeito, cliente, Aviso(f"Você foi transferido para {departamento}."))
        self._contar(efeito, atendente, Fim(f"Atendimento encerrado. {motivo}"))
        self._enfileirar(efeito, cliente, atendente, na_frente=True)

    def _fechar_conversa(self, conversa: Conversa, de: str, para: str, motivo: str) -> None:
        """Anota o fim de um atendimento. Exige a trava."""
        self.turno.acabou(conversa.departamento, self.relogio() - conversa.inicio)
        self._acontecer(conversa, "fim", de, para, (motivo,))

    def _despedir(self, efeito: Efeito, eu: Participante, fim: Fim | None = None) -> None:
        """Retira `eu` de toda parte e fecha a sua caixa, com uma última linha se houver. Exige a trava."""
        self.online.discard(eu)
        if self.user_states.pop(eu).fase is Fase.FILA:
            if eu.tipo is Tipo.ATENDENTE:
                self.fila_atendentes.remove(eu)
            else:
                self._tirar_da_fila(eu)
                if not self.encerrada:  # a quem o servidor manda embora não faltou paciência
                    self.turno.desistiu(eu.departamentos[0])
        if fim is not None:
            self._contar(efeito, eu, fim)
        eu.retirado = True


def _em(departamento: str) -> str:
    return f" em {departamento}" if departamento else ""
