# coding: utf-8
"""O servidor da fila de atendimento, de ponta a ponta: a vida de uma conexão, o servidor e o programa.

As threads:

    principal    espera o sinal de encerrar
    porteiro     aceita as conexões (`serve_forever`)
    conexao-N    uma por conexão: a única que lê o seu socket; causa o fato que cada linha conta
    carteiro     entrega o que não pôde ser entregue na hora, publica posições, fecha conexões
    log          escreve na saída padrão, para que ninguém mais precise esperar por ela
    registro     com `--registro`, grava as conversas

O que guarda o quê:

    Filas.trava          as duas filas e o estado de cada participante
    Participante.vez     a caixa de saída dele, e a escrita no seu socket
    Servidor.mudou       as conexões abertas, os seus lugares, as senhas erradas e as que esperam a vez

A thread de uma conexão lê uma linha e causa um fato (`Filas.repassar_chat`, `Filas.atender`); o fato muda as filas
com a trava na mão, toma a vez de quem vai receber, solta a trava e envia.
"""

import argparse
import contextlib
import errno
import itertools
import logging
import os
import queue
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Sequence

from atendimento import maquina
from atendimento.carteiro import Carteiro
from atendimento.conexao import ABERTA, Conexao
from atendimento.filas import FIM_DE_FLUXO, LONGA_DEMAIS, LOTADO, Filas
from atendimento.identificacao import Identificacao
from atendimento.limites import ISENTOS, Lugares, Ritmo, Senhas
from atendimento.log import iniciar_log
from atendimento.maquina import endereco_na_rede, motivo_de_nao_abrir
from atendimento.opcoes import NO_TERMINAL, ler_opcoes
from atendimento.rastro import ConexaoRastreada, Gravacao, Rastro, SocketRastreado, TravaDasFilas
from atendimento.registro import Registro, motivo
from protocolo import (
    PORTA_PADRAO,
    PRAZO_ESGOTADO,
    Aviso,
    Comando,
    Fim,
    LinhaLonga,
    Mensagem,
    SeparadorDeLinhas,
    Tipo,
)

log = logging.getLogger("fila")


# =================================================================================================
# A vida de uma conexão, na thread dela.
# =================================================================================================


class Atendimento(socketserver.BaseRequestHandler):
    """Identifica-se, entra na fila, fala até sair. O socket é `request`; quem está do outro lado dele, `quem`."""

    request: socket.socket  # um Python velho desiste aqui: use o 3.10
    server: "Servidor"

    def setup(self) -> None:
        threading.current_thread().name = f"conexao-{next(self.server.numeros)}"
        self.quem: Conexao = self.server.conexoes[self.request]

    def handle(self) -> None:
        chegada = Identificacao(self.quem, self.client_address[0], self.server)
        try:
            tipo, nome, departamentos = chegada.fazer()
        except EOFError:
            log.info("%s foi embora sem se identificar.", self.endereco, extra={"marca": "DISCONNECT"})
        except TimeoutError:
            self.recusar(f"{PRAZO_ESGOTADO}{chegada.meia_linha()}.")
        except ValueError as erro:
            self.recusar(str(erro))
        else:
            self.entrar(tipo, nome, departamentos)
            self.conversar(chegada.separador, chegada.linhas)

    @property
    def endereco(self) -> str:
        host, porta = self.client_address[:2]
        return f"[{host}]:{porta}" if ":" in host else f"{host}:{porta}"

    def recusar(self, motivo: str) -> None:
        log.info("%s falhou na identificação: %s", self.endereco, motivo, extra={"marca": "DISCONNECT"})
        self.server.filas.recusar(self.quem, Fim(motivo))

    def entrar(self, tipo: Tipo, nome: str, departamentos: tuple[str, ...]) -> None:
        """Já se sabe quem é: vai para a fila."""
        self.quem.formato = type(self.quem.formato)(nome)
        threading.current_thread().name += f" {nome}"
        onde = f" para {', '.join(departamentos)}" if self.server.filas.departamentos else ""
        log.info("%s (%s) conectou de %s%s.", nome, tipo.value, self.endereco, onde, extra={"marca": "CONNECT"})
        self.server.filas.entrar(self.quem, tipo, nome, departamentos)

    def conversar(self, separador: SeparadorDeLinhas, linhas: list[str | Aviso | None]) -> None:
        """Lê até o fim, no ritmo; as primeiras `linhas` vieram com o nome.

        Cada bloco lido vira fatos; antes do fato seguinte, espera-se por quem lê devagar.
        """
        quem, filas, ritmo = self.quem, self.server.filas, Ritmo(self.server.ritmo)
        while True:
            passam = ritmo.tirar(len(linhas))
            for comando in quem.formato.ler_participante(linhas[:passam]):
                ouve = filas.repassar_chat(quem, comando) if isinstance(comando, Mensagem) else self.causar(comando)
                if ouve is not None and ouve.caixa:
                    ouve.esperar_que_escoe(quem)
            linhas = linhas[passam:]
            if linhas and quem.situacao is ABERTA:
                time.sleep(ritmo.PAUSA)  # fala demais: deixa-se de ler, e a contrapressão do TCP chega a quem escreve
                continue
            dados = quem.receber()
            if not dados:
                return
            linhas = separador.alimentar(dados)

    def causar(self, comando: Comando) -> Conexao:
        """O fato que um comando conta, se não é uma mensagem. Devolve quem lê a resposta: sempre quem o mandou."""
        if isinstance(comando, LinhaLonga):
            self.server.filas.responder(self.quem, LONGA_DEMAIS)
        elif isinstance(comando, Aviso):  # o que o formato não entendeu
            self.server.filas.responder(self.quem, comando)
        else:
            self.server.filas.atender(self.quem, comando)
        return self.quem


# =================================================================================================
# O servidor.
# =================================================================================================


class Servidor(socketserver.ThreadingTCPServer):
    """Aceita conexões e dá uma thread a cada uma.

    `maximo` é o teto de conexões, e `por_endereco` o de cada endereço que não esteja entre os `isentos`; `ritmo`, o de
    linhas por segundo; os prazos são em segundos; `senha` é a dos atendentes, ou `None` se não há; `um_nucleo` deixa
    o servidor juntar as suas threads num núcleo, onde andam mais rápido; `rastro` conta o que passa pelos sockets.
    `servir()` põe as threads para rodar e `encerrar()` despede-se de todos.
    """

    daemon_threads = True  # o padrão prende a saída do programa enquanto houver alguém conectado
    request_queue_size = 1024  # o padrão, 5, recusa quase toda uma turma que se conecta junta
    # No POSIX, reabre logo na mesma porta. No Windows a opção deixaria outro processo roubá-la.
    allow_reuse_address = os.name == "posix"

    ENCERRAR_EM = 3.0
    """Segundos para que todos leiam `FIM:Servidor encerrado.` e fechem, ao encerrar."""

    DE_SAIDA = 32
    """Conexões sem lugar, recusadas ou já sem thread, que se deixam ler a despedida ao mesmo tempo. Passando disso,
    a mais antiga é cortada: o teto vale também para os descritores."""

    def __init__(
        self,
        endereco: tuple[str, int],
        filas: Filas,
        *,
        maximo: int = 1000,
        por_endereco: int | None = None,
        isentos: Sequence[str] = ISENTOS,
        ritmo: int = 200,
        prazo_identificacao: float = 60.0,
        prazo_envio: float = 10.0,
        senha: str | None = None,
        um_nucleo: bool = False,
        rastro: Rastro | None = None,
    ) -> None:
        self.filas = filas
        self.ritmo = ritmo
        self.prazo_identificacao = prazo_identificacao
        self.senha = senha
        self.rastro = rastro
        self.numeros = itertools.count(1)  # das threads de conexão
        self.nucleos = maquina.Nucleos(um_nucleo)
        self.carteiro = Carteiro(filas, prazo_envio, self._esquecer)
        self.porteiro = threading.Thread(target=self._aceitar, name="porteiro", daemon=True)
        # `mudou` guarda o que vem abaixo, e avisa quem espera que todas fechem.
        self.mudou = threading.Condition()
        self.conexoes: dict[socket.socket, Conexao] = {}  # as que ainda não foram fechadas
        self.lugares = Lugares(maximo, por_endereco, isentos)  # dessas, as que contam no teto: as que têm uma thread
        self.senhas = Senhas()
        self.encerrando = False
        self.address_family = socket.AF_INET6 if ":" in endereco[0] else socket.AF_INET
        super().__init__(endereco, Atendimento)

    def servir(self) -> None:
        """Começa a aceitar; não espera."""
        self.carteiro.start()
        self.porteiro.start()

    def encerrar(self, prazo: float = ENCERRAR_EM) -> None:
        """Deixa de aceitar, manda `FIM:` a todos e espera que leiam e fechem.

        Quem não o fez em `prazo` segundos é cortado.
        """
        self.encerrando = True
        self.shutdown()  # espera o laço do porteiro, que roda em outra thread: chamada dela, travaria
        self.server_close()
        for conexao in self.filas.desligar():
            self.carteiro.cuidar_de(conexao)
        with self.mudou:
            self._esperar_que_fechem(prazo)
            restantes = list(self.conexoes.values())
        for conexao in restantes:
            with conexao.vez:
                conexao.cortar()
        with self.mudou:
            self._esperar_que_fechem(1.0)
        self.carteiro.parar()

    def _esperar_que_fechem(self, prazo: float) -> None:
        """Espera que não haja mais conexões, até `prazo` segundos. Exige `mudou`."""
        ate = time.monotonic() + prazo
        while self.conexoes and time.monotonic() < ate:
            # Aos poucos: o sinal que chega logo antes de uma espera só é tratado quando ela acaba.
            self.mudou.wait(0.1)

    # Para quem se identifica, na thread da conexão.

    def cabe_o_cliente(self, quem: Conexao) -> bool:
        """Conta `quem` entre os clientes; `False` se os lugares que faltam são de quem atende."""
        with self.mudou:
            return self.lugares.cabe_o_cliente(quem)

    def conferir_senha(self, quem: Conexao, endereco: str, certa: bool) -> tuple[bool, float]:
        """A senha de `quem`: se já é a vez dela, e quantos segundos esperar, para tentar de novo ou pela resposta."""
        with self.mudou:
            return self.senhas.conferir(quem, endereco, certa)

    # O porteiro: as conexões como o socketserver as conta.

    def _aceitar(self) -> None:
        """O laço da thread. Só acaba com `shutdown`: um erro numa conexão não impede as seguintes."""
        acabou = False
        while not acabou:
            try:
                self.serve_forever(poll_interval=0.1)
            except Exception as erro:
                log.error("Falha do porteiro: %r", erro, extra={"marca": "ERRO"})
                time.sleep(0.1)  # o que falhou pode falhar de novo na hora
            acabou = self.encerrando  # só agora: `shutdown` espera por um laço que tenha começado

    def server_bind(self) -> None:
        maquina.reservar_porta(self.socket)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, tuple]:
        try:
            sock, endereco = super().get_request()
        except OSError as erro:
            if erro.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                # O laço do socketserver tentaria de novo na hora, e giraria até alguém sair.
                self.carteiro.apressar()
                time.sleep(0.1)
            raise
        if self.rastro:
            sock = SocketRastreado(sock, self.rastro, self.senha is not None)
            conexao = ConexaoRastreada(sock, self.carteiro.cuidar_de, self.rastro)
        else:
            conexao = Conexao(sock, self.carteiro.cuidar_de)
        with self.mudou:
            self.conexoes[sock] = conexao
        return sock, endereco

    def process_request(self, sock: socket.socket, endereco: tuple) -> None:
        """Dá à conexão um lugar e uma thread; se falta um dos dois, despede-se dela aqui mesmo."""
        conexao = self.conexoes[sock]
        with self.mudou:
            recusa = self.lugares.dar(conexao, endereco[0])
            espera_ate = time.monotonic() + 1.0
            while self._de_saida() > self.DE_SAIDA and time.monotonic() < espera_ate:
                self.carteiro.apressar()
                self.mudou.wait(0.1)  # por ele, que não espera ninguém; enquanto isso, outra pode passar a sair
        if recusa is None:
            self.filas.admitir(conexao)
            self.nucleos.ajustar()
            try:
                return super().process_request(sock, endereco)
            except RuntimeError:  # o sistema não deu mais uma thread
                recusa = LOTADO
        with self.mudou:
            relatar = self.lugares.relatar(endereco[0])
        if relatar:
            log.warning("Recusada a conexão de %s: %s", endereco[0], recusa.mensagem)
        with conexao.vez:
            conexao.entregar((recusa, FIM_DE_FLUXO))
        self.shutdown_request(sock)

    def shutdown_request(self, sock: socket.socket) -> None:
        """A despedida, uma só para todos os casos: recusa, fim de fluxo, erro, `FIM:`.

        O socketserver a chama no fim da thread da conexão, e também para quem não chegou a ter uma.
        """
        conexao = self.conexoes[sock]
        with self.mudou:
            self.lugares.vagar(conexao)  # antes de o par saber: quem ele chamar encontra o lugar vago
            self.senhas.desistir(conexao)
        self.filas.sair(conexao)
        self.carteiro.enterrar(conexao)

    def _de_saida(self) -> int:
        """Quantas conexões sem lugar ainda não foram fechadas. Exige `mudou`."""
        return len(self.conexoes) - len(self.lugares)

    def handle_error(self, sock: socket.socket, endereco: tuple) -> None:
        """Um erro nosso numa conexão: fica no log, e as outras seguem."""
        log.error("Falha ao atender %s: %r", endereco, sys.exc_info()[1], extra={"marca": "ERRO"})

    def _esquecer(self, conexao: Conexao) -> None:
        """O carteiro a fechou: o lugar é de outra."""
        with self.mudou:
            self.conexoes.pop(conexao.sock, None)
            self.mudou.notify_all()


# =================================================================================================
# O programa.
# =================================================================================================

PILHA = 512 * 1024
"""Bytes da pilha de cada thread. O padrão reserva 8 MiB de endereços para cada conexão: em 32 bits não cabem mil."""

FIM_DO_LOG_EM = 1.0
"""Segundos que o programa, ao acabar, espera que o resto do log seja escrito."""


def anunciar(host: str, porta: int) -> None:
    """Diz onde o servidor aceita e o que digitar nos outros terminais."""
    opcao = "" if porta == PORTA_PADRAO else f" --porta {porta}"
    if host not in ("0.0.0.0", "::", "127.0.0.1", "localhost"):
        opcao = f" --host {host}{opcao}"
    log.info("Aceitando conexões em %s, porta %d. Ctrl+C encerra.", host, porta)
    log.info("Nesta máquina, em outros terminais: python cliente.py%s   python atendente.py%s", opcao, opcao)
    endereco = endereco_na_rede() if host in ("0.0.0.0", "::") else None
    if endereco:
        log.info("Em outra máquina da rede: python cliente.py --host %s%s", endereco, opcao)


def abrir(opcoes: argparse.Namespace) -> tuple[Servidor, Registro | None]:
    """O servidor que as opções pedem, na porta mas ainda sem aceitar; `SystemExit`, com o motivo, se não dá."""
    rastro = rastro_pedido(opcoes)
    trava = TravaDasFilas(rastro) if rastro else None
    filas = Filas(opcoes.departamentos or (), devolver=opcoes.devolver_a_fila, trava=trava)
    if trava:
        trava.filas = filas
    try:
        servidor = Servidor(
            (opcoes.host, opcoes.porta),
            filas,
            maximo=opcoes.max_conexoes,
            por_endereco=opcoes.max_por_endereco,
            ritmo=opcoes.ritmo,
            prazo_identificacao=opcoes.prazo_identificacao,
            prazo_envio=opcoes.prazo_envio,
            senha=opcoes.senha_atendentes,
            um_nucleo=not opcoes.varios_nucleos,
            rastro=rastro,
        )
    except (OSError, UnicodeError) as erro:
        raise SystemExit(f"Não foi possível iniciar: {motivo_de_nao_abrir(erro, opcoes.host, opcoes.porta)}") from None
    # Os arquivos, depois da porta: sem ela, não se cria nem se recomeça nenhum.
    registro, arquivo = None, opcoes.registro
    try:
        if opcoes.registro:
            registro = servidor.filas.ouvinte = Registro(opcoes.registro)
        arquivo = opcoes.rastro
        if rastro:
            rastro.iniciar()
    except OSError as erro:
        servidor.server_close()
        raise SystemExit(f"Não foi possível gravar em {arquivo}: {motivo(erro)}.") from None
    return servidor, registro


def rastro_pedido(opcoes: argparse.Namespace) -> Rastro | None:
    """O rastro que as opções pedem, se pedem um."""
    if opcoes.rastro in (None, NO_TERMINAL):
        return Rastro(opcoes.rastro_bytes) if opcoes.rastro or opcoes.rastro_bytes else None
    return Gravacao(opcoes.rastro, opcoes.rastro_bytes)


def preparar_o_processo(max_conexoes: int) -> None:
    """O que vale para o processo inteiro: threads baratas, e descritores para todas as conexões."""
    # Segundos que uma thread espera pela GIL antes de pedir que a soltem. Com o padrão, 5 ms, centenas de threads
    # esperando gastam o núcleo inteiro em acordar e pedir. Quem a tem a solta muito antes, no `recv` seguinte.
    sys.setswitchinterval(0.1)
    threading.stack_size(PILHA)
    maquina.permitir_descritores(max_conexoes + 2 * Servidor.DE_SAIDA)


def ouvir_sinais() -> queue.SimpleQueue[int]:
    """A fila em que cai o que manda encerrar: Ctrl+C, SIGTERM, a janela que se fecha.

    O segundo sinal não espera pelo encerramento: termina já, com código 1.
    """
    sinais: queue.SimpleQueue[int] = queue.SimpleQueue()
    primeiro = iter([True])

    def tratar(sinal: int, _: object) -> None:
        # Um sinal pode chegar no meio do tratamento de outro: nada daqui espera por uma trava.
        if next(primeiro, False):
            sinais.put(sinal)
        else:
            os._exit(1)

    maquina.tratar_sinais(tratar, *maquina.ENCERRAM)
    maquina.ao_fechar_a_janela(lambda: sinais.put(0))
    return sinais


def esperar_o_sinal(sinais: queue.SimpleQueue[int], registro: Registro | None) -> None:
    """Bloqueia até haver um sinal; enquanto isso, o registro diz no log o que não pôde guardar."""
    while sinais.empty():
        # Com prazo: numa espera sem fim há sistemas em que o sinal não chega a ser tratado.
        with contextlib.suppress(queue.Empty):
            sinais.put(sinais.get(timeout=0.5))
        if registro:
            registro.conferir()


def main() -> int:
    """O comando `python servidor.py`: serve até Ctrl+C ou SIGTERM."""
    opcoes = ler_opcoes()
    sinais = ouvir_sinais()
    preparar_o_processo(opcoes.max_conexoes)
    servidor, registro = abrir(opcoes)
    fila_de_log = iniciar_log()
    if registro:
        registro.iniciar()
    servidor.servir()
    anunciar(*servidor.server_address[:2])
    if opcoes.departamentos:
        log.info("Departamentos: %s.", ", ".join(opcoes.departamentos))
    if registro:
        log.info("As conversas são gravadas em %s.", opcoes.registro)
    if opcoes.rastro not in (None, NO_TERMINAL):
        log.info("O rastro é gravado em %s. Depois: python docs/filme.py %s", opcoes.rastro, opcoes.rastro)
    esperar_o_sinal(sinais, registro)
    log.info("Encerrando.")
    servidor.encerrar()
    if servidor.rastro:
        servidor.rastro.encerrar()
    if registro:
        registro.encerrar()
    for frase in servidor.filas.turno.resumo():
        log.info(frase, extra={"marca": "TURNO"})
    # A saída padrão pode estar parada (um `| less`, um texto selecionado no console do Windows):
    # nem o resto do log nem o fim do interpretador, que a descarregaria, esperam por ela.
    escrevendo = threading.Thread(target=fila_de_log.join, daemon=True)
    escrevendo.start()
    escrevendo.join(FIM_DO_LOG_EM)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
