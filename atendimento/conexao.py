"""Uma conexão: um socket, a caixa de saída que o precede e a vez de escrever nele."""

import contextlib
import enum
import socket
import time
from collections.abc import Callable, Sequence

from atendimento import maquina
from atendimento.filas import FIM_DE_FLUXO, Participante
from protocolo import Comando, Formato, Texto


class Situacao(enum.Enum):
    """Até onde vai uma conexão. Só se avança, de cima para baixo."""

    ABERTA = enum.auto()
    DESPEDIDA = enum.auto()  # nada mais entra na caixa; esvaziada, o fim de fluxo
    CORTADA = enum.auto()  # nada mais sai: o outro sumiu ou parou de ler
    FECHADA = enum.auto()  # o socket já não existe


ABERTA, DESPEDIDA, CORTADA, FECHADA = Situacao


class Conexao(Participante):
    """O participante que está do outro lado de um socket.

    Só a thread da conexão lê o socket, e só o carteiro o fecha. Qualquer thread escreve nele, desde que tenha a vez:
    ela guarda a caixa, a situação e os bytes que saem, que de duas ao mesmo tempo se misturariam.

    `ao_sobrar(conexao)` avisa o carteiro de que há o que acompanhar: uma sobra na caixa, ou uma despedida.
    """

    BUFFER_DE_ENVIO = 128 * 1024
    """Bytes que o kernel guarda para quem lê devagar. Sem limite ele chega a megabytes, e só acorda quem envia
    quando um terço esvaziou: um leitor lento, mas vivo, pareceria parado além do prazo de envio."""

    CAIXA_CHEIA = 1024 * 1024
    """Bytes. Quem fala espera a caixa esvaziar, e só muitos que falem um pouco e saiam a enchem assim: corta-se já."""

    CONFERIR_A_CADA = 0.2
    """Segundos, no máximo, de uma espera que nem todo sistema interrompe."""

    def __init__(self, sock: socket.socket, ao_sobrar: Callable[["Conexao"], None]) -> None:
        super().__init__()
        self.sock = sock
        self.formato: Formato = Texto()
        self.situacao = ABERTA
        self.caixa = b""  # linhas já codificadas que o sistema ainda não aceitou
        self.enviados = 0  # bytes que ele aceitou, desde o começo
        self._ao_sobrar = ao_sobrar
        # Bytes por recv. O recv parado já os tem alocados: pouco para quem só espera, e até meio KiB
        # da memória que as threads dividem, que está sempre quente. Cresce para quem manda muito.
        self._tamanho = 448
        maquina.ajustar_socket(sock, self.BUFFER_DE_ENVIO)

    # O que sai.

    def por_na_caixa(self, comandos: Sequence[Comando | None]) -> None:
        """Acrescenta os comandos à caixa, sem enviar; depois do fim de fluxo nada mais entra. Exige a vez."""
        assert self.vez.locked()
        for comando in comandos:
            if self.situacao is not ABERTA:
                return
            if comando is FIM_DE_FLUXO:
                self.situacao = DESPEDIDA
            else:
                self.caixa += self.formato.codificar(comando)
        if len(self.caixa) > self.CAIXA_CHEIA:
            self.cortar()

    def escoar(self) -> None:
        """Envia o que o sistema aceitar já da caixa e, esvaziada a de quem se despede, o fim de fluxo. Exige a vez."""
        assert self.vez.locked()
        try:
            if self.caixa:
                quantos = self.sock.send(self.caixa, maquina.SEM_ESPERA)
                self.caixa = self.caixa[quantos:]
                self.enviados += quantos
            if self.situacao is DESPEDIDA and not self.caixa:
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.cortar()

    def entregar(self, comandos: Sequence[Comando | None]) -> None:
        """Põe na caixa e envia o que der; do que sobra, e de quem se despede, cuida o carteiro. Exige a vez."""
        self.por_na_caixa(comandos)
        self.escoar()
        if self.caixa or self.situacao is not ABERTA:
            self._ao_sobrar(self)

    def esperar_que_escoe(self, quem_fala: "Conexao") -> None:
        """Bloqueia, sem nada na mão, enquanto o outro não tem onde receber o que `quem_fala` lhe disse.

        É a contrapressão: quem fala com quem lê devagar também fala devagar. Acaba quando a caixa esvazia, o que
        inclui o corte, que é do carteiro; ou quando quem fala já não tem o que esperar.
        """
        while self.caixa and quem_fala.situacao is ABERTA:
            maquina.esperar_escrita(self.sock, self.CONFERIR_A_CADA)
            with self.vez:
                if self.caixa:
                    self.escoar()

    def cortar(self) -> None:
        """Desiste do outro: joga fora a caixa e acorda quem estiver parado no socket. Exige a vez."""
        assert self.vez.locked()
        if self.situacao in (ABERTA, DESPEDIDA):
            self.situacao, self.caixa = CORTADA, b""
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def fechar(self) -> None:
        """Fecha o socket: daqui em diante o descritor pode ser o de outra conexão. Exige a vez."""
        assert self.vez.locked()
        self.situacao, self.caixa = FECHADA, b""
        self.sock.close()

    # O que chega: só a thread da conexão.

    def receber(self, prazo: float | None = None) -> bytes:
        """Bloqueia até chegar algo; `b""` se o outro fechou, ou se a conexão foi cortada.

        De quem já se despediu, joga fora o que chega, até que ele feche: fechar com bytes dele que falta ler mandaria
        um RST, e o RST apaga em alguns sistemas o `FIM:` que ele ainda não leu. Levanta `TimeoutError` se passam
        `prazo` segundos.
        """
        ate = None if prazo is None else time.monotonic() + prazo
        while True:
            if ate is not None or not maquina.SEM_ESPERA:
                self._esperar_leitura(ate)
            try:
                dados = self.sock.recv(self._tamanho)
            except BlockingIOError:
                continue
            except OSError:
                return b""
            if len(dados) == self._tamanho:
                self._tamanho = min(self._tamanho * 4, 65536)
            if not dados or self.situacao is ABERTA:
                return dados

    def esperar(self, segundos: float) -> bool:
        """Espera sem ler, e sem nada na mão; `False` se antes disso a conexão acaba, deste lado ou do outro."""
        ate = time.monotonic() + segundos
        while self.situacao is ABERTA and (falta := ate - time.monotonic()) > 0:
            if maquina.esperar_fim(self.sock, min(falta, self.CONFERIR_A_CADA)):
                return False
        return self.situacao is ABERTA

    def _esperar_leitura(self, ate: float | None) -> None:
        """Espera que haja o que ler, ou que a conexão seja cortada; `TimeoutError` no instante `ate`."""
        while self.situacao in (ABERTA, DESPEDIDA):
            espera = self.CONFERIR_A_CADA
            if ate is not None and self.situacao is ABERTA:
                espera = min(espera, ate - time.monotonic())
                if espera <= 0:
                    raise TimeoutError
            if maquina.esperar_leitura(self.sock, espera):
                return

    # Para o carteiro.

    def confirmados(self) -> int:
        """Bytes que já estão com o outro; onde não há como saber, os que o nosso sistema aceitou."""
        return self.enviados - maquina.por_confirmar(self.sock)

    def descartar(self) -> bool:
        """Joga fora, sem esperar, o que o outro mandou; diz se ele já fechou. Só quando já não há thread que leia."""
        try:
            # Um pouco por vez: quem despeja sem parar não prende aqui o carteiro.
            return not all(self.sock.recv(65536, maquina.SEM_ESPERA) for _ in range(8))
        except BlockingIOError:
            return False
        except OSError:
            return True
